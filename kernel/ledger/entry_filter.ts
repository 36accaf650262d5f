/**
 * An entry filter: which entries a reader asked for, told from the text of their lines.
 *
 * There is one way only to write a record (`record.ts`), so its first fields are compared as they are written,
 * and nothing is parsed: a filter may have to look at ten thousand lines for one answer.
 *
 * Pure.
 *
 * @module
 */

export interface EntryFilter {
  /** Types by name, or by their first word: `call.*`. Any of them. */
  readonly types?: readonly string[] | undefined;
  /** `id@version`, or `id` for any version of it, and for the id alone. */
  readonly plugin?: string | undefined;
  readonly actor?: string | undefined;
  /** Inclusive. */
  readonly sinceMs?: number | undefined;
  /** Exclusive. */
  readonly untilMs?: number | undefined;
}

const text = String.raw`"(?:[^"\\]|\\.)*"`;
const headPattern = new RegExp(
  String
    .raw`^\{"v":1,"seq":\d+,"time":"([^"]*)","type":"([^"]*)","actor":(${text}),"plugin":(${text}),"data":`,
);

type Test = (time: string, type: string, actor: string, plugin: string) => boolean;

/**
 * What tells whether a line is asked for, or undefined when all are. It takes a line that is no record: someone
 * changed the log, and whoever looks for an entry should see that.
 */
export function createEntryFilter(filter: EntryFilter): ((line: string) => boolean) | undefined {
  const tests = Array.from(listTests(filter));
  if (tests.length === 0) return undefined;
  return (line) => {
    const head = headPattern.exec(line);
    if (head === null) return true;
    const [, time = "", type = "", actor = "", plugin = ""] = head;
    return tests.every((test) => test(time, type, actor, plugin));
  };
}

function* listTests({ types, plugin, actor, sinceMs, untilMs }: EntryFilter): Generator<Test> {
  if (types !== undefined) {
    const names = new Set(types);
    yield (_time, type) => names.has(type) || names.has(type.replace(/\..*/, ".*"));
  }
  if (plugin?.includes("@")) {
    const written = JSON.stringify(plugin);
    yield (_time, _type, _actor, name) => name === written;
  } else if (plugin !== undefined) {
    const alone = JSON.stringify(plugin);
    const begun = `${alone.slice(0, -1)}@`;
    yield (_time, _type, _actor, name) => name === alone || name.startsWith(begun);
  }
  if (actor !== undefined) {
    const written = JSON.stringify(actor);
    yield (_time, _type, name) => name === written;
  }
  if (sinceMs !== undefined) yield (time) => Date.parse(time) >= sinceMs;
  if (untilMs !== undefined) yield (time) => Date.parse(time) < untilMs;
}
