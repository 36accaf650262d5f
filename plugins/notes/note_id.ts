/**
 * A note's id: when it was made and a part by chance, in 26 characters that sort by time.
 *
 * The format is ULID, https://github.com/ulid/spec: 48 bits of milliseconds and 80 random ones in Crockford's
 * base 32. An id becomes a file's name, so what callers send is held against the format first: it has no
 * character that a path could be made of.
 *
 * @module
 */
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const format = /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/;

export function isNoteId(text: string): boolean {
  return format.test(text);
}

/** Each id of one source is greater than the one before, also within a millisecond or when the clock goes back. */
export function createNoteIds(now: () => number = Date.now): () => string {
  let lastMs = 0;
  return () => {
    lastMs = Math.max(now(), lastMs + 1);
    let time = "";
    for (let rest = lastMs; time.length < 10; rest = Math.floor(rest / 32)) {
      time = alphabet.charAt(rest % 32) + time;
    }
    const chance = Array.from(
      crypto.getRandomValues(new Uint8Array(16)),
      (byte) => alphabet.charAt(byte % 32),
    );
    return time + chance.join("");
  };
}
