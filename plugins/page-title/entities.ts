/**
 * Character references of HTML, such as `&amp;` and `&#8212;`.
 *
 * It knows the names that titles are written with: Latin 1 and common signs. A name that it does not know
 * stays as it is, as does a lone ampersand. Pure.
 *
 * @module
 */

/** The names of U+00A0 to U+00FF, in that order. */
const latin1 = (
  "nbsp iexcl cent pound curren yen brvbar sect uml copy ordf laquo not shy reg macr " +
  "deg plusmn sup2 sup3 acute micro para middot cedil sup1 ordm raquo frac14 frac12 frac34 iquest " +
  "Agrave Aacute Acirc Atilde Auml Aring AElig Ccedil Egrave Eacute Ecirc Euml Igrave Iacute Icirc Iuml " +
  "ETH Ntilde Ograve Oacute Ocirc Otilde Ouml times Oslash Ugrave Uacute Ucirc Uuml Yacute THORN szlig " +
  "agrave aacute acirc atilde auml aring aelig ccedil egrave eacute ecirc euml igrave iacute icirc iuml " +
  "eth ntilde ograve oacute ocirc otilde ouml divide oslash ugrave uacute ucirc uuml yacute thorn yuml"
).split(" ");

const signs = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  AMP: "&",
  LT: "<",
  GT: ">",
  QUOT: '"',
  ndash: "–",
  mdash: "—",
  hellip: "…",
  lsquo: "‘",
  rsquo: "’",
  sbquo: "‚",
  ldquo: "“",
  rdquo: "”",
  bdquo: "„",
  lsaquo: "‹",
  rsaquo: "›",
  bull: "•",
  dagger: "†",
  Dagger: "‡",
  permil: "‰",
  prime: "′",
  Prime: "″",
  euro: "€",
  trade: "™",
  minus: "−",
  infin: "∞",
  ne: "≠",
  le: "≤",
  ge: "≥",
  larr: "←",
  uarr: "↑",
  rarr: "→",
  darr: "↓",
  harr: "↔",
  hearts: "♥",
  star: "☆",
  starf: "★",
  check: "✓",
  OElig: "Œ",
  oelig: "œ",
  Scaron: "Š",
  scaron: "š",
  Zcaron: "Ž",
  zcaron: "ž",
  Yuml: "Ÿ",
  fnof: "ƒ",
  circ: "ˆ",
  tilde: "˜",
  ensp: "\u2002",
  emsp: "\u2003",
  thinsp: "\u2009",
  zwnj: "\u200c",
  zwj: "\u200d",
  lrm: "\u200e",
  rlm: "\u200f",
  num: "#",
  lpar: "(",
  rpar: ")",
  comma: ",",
  colon: ":",
  semi: ";",
  excl: "!",
  quest: "?",
  sol: "/",
  bsol: "\\",
  vert: "|",
  verbar: "|",
  lbrack: "[",
  rbrack: "]",
  lbrace: "{",
  rbrace: "}",
  commat: "@",
  dollar: "$",
  percnt: "%",
  plus: "+",
  equals: "=",
  lowbar: "_",
  ast: "*",
  Tab: "\t",
  NewLine: "\n",
};

const named: ReadonlyMap<string, string> = new Map([
  ...Object.entries(signs),
  ...latin1.map((name, index) => [name, String.fromCharCode(0xa0 + index)] as const),
]);

/** What `&#128;` to `&#159;` mean: the characters of windows-1252, as the HTML standard says. */
const c1 = new TextDecoder("windows-1252").decode(
  Uint8Array.from({ length: 32 }, (_, index) => 0x80 + index),
);

const reference = /&(?:#(?:[xX]([0-9a-fA-F]{1,16})|([0-9]{1,16}));?|([A-Za-z][A-Za-z0-9]{1,31});)/g;

export function decodeEntities(text: string): string {
  if (!text.includes("&")) return text;
  return text.replaceAll(
    reference,
    (whole, hex: string | undefined, decimal: string | undefined, name: string | undefined) => {
      if (name !== undefined) return named.get(name) ?? whole;
      return characterOf(hex === undefined ? Number(decimal) : Number.parseInt(hex, 16));
    },
  );
}

function characterOf(codePoint: number): string {
  if (codePoint >= 0x80 && codePoint <= 0x9f) return c1.charAt(codePoint - 0x80);
  const surrogate = codePoint >= 0xd800 && codePoint <= 0xdfff;
  return codePoint === 0 || codePoint > 0x10ffff || surrogate ? "\uFFFD" : String.fromCodePoint(codePoint);
}
