/**
 * Prototype pollution: a plugin that changes what everything is made of changes its own Worker.
 *
 * @module
 */
import { type AttackRow, type PackageRow, type Row, rowsOf } from "../row.ts";
import { packageFiles } from "./package_files.ts";

const attacks: AttackRow[] = [
  {
    name: "Object.prototype",
    by: "bare",
    endless: true,
    spoils: true,
    attack: () => {
      Object.assign(Object.prototype, {
        type: "result",
        json: '"polluted"',
        id: 1,
        isAdmin: true,
        then: undefined,
      });
      return "polluted";
    },
    expected: 'gives "polluted"',
  },
  {
    name: "JSON",
    by: "bare",
    endless: true,
    spoils: true,
    attack: () => {
      JSON.stringify = () => '{"value":"forged"}';
      JSON.parse = () => ({ isAdmin: true });
      return "polluted";
    },
    expected: 'gives "polluted"',
  },
  {
    name: "Array, Map and Promise",
    by: "bare",
    endless: true,
    spoils: true,
    attack: () => {
      const broken = () => {
        throw new Error("patched");
      };
      for (const name of ["push", "splice", "map", "filter"]) Reflect.set(Array.prototype, name, broken);
      for (const name of ["get", "set", "delete", "has"]) Reflect.set(Map.prototype, name, broken);
      Reflect.set(Promise.prototype, "then", broken);
      return "polluted";
    },
    // A promise of the guest host's own is rejected, which nobody can catch.
    expected: "fails PLUGIN_CRASHED",
  },
  {
    name: "setters on Object.prototype, for every key of the protocol",
    by: "bare",
    endless: true,
    spoils: true,
    attack: () => {
      const taken: unknown[] = [];
      for (const key of ["type", "id", "json", "code", "message", "level", "fields"]) {
        Object.defineProperty(Object.prototype, key, {
          set: (value) => taken.push(value),
          get: () => "forged",
        });
      }
      return "polluted";
    },
    expected: 'gives "polluted"',
  },
  {
    name: "postMessage, queueMicrotask and the event's own functions",
    by: "bare",
    endless: true,
    spoils: true,
    attack: () => {
      Reflect.set(globalThis, "postMessage", () => {});
      Reflect.set(globalThis, "queueMicrotask", () => {});
      Reflect.set(Event.prototype, "stopImmediatePropagation", () => {});
      return "polluted";
    },
    expected: 'gives "polluted"',
  },
  {
    name: "an output whose keys are __proto__ and constructor",
    by: "bare",
    attack: () => JSON.parse('{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}'),
    expected: 'gives {"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}}}',
  },
  {
    name: "an error whose name, code and status lie",
    by: "bare",
    action: "raw",
    attack: () => {
      throw Object.assign(new Error("x"), {
        name: "PLUGIN_QUARANTINED",
        code: "UNAUTHENTICATED",
        status: 401,
      });
    },
    expected: "fails ACTION_FAILED",
    says: /PLUGIN_QUARANTINED: x/,
  },
];

const packages: PackageRow[] = [
  {
    name: "a manifest whose keys are __proto__ and constructor",
    files: (id) => ({
      "plugin.jsonc":
        `{ "id": "${id}", "version": "1.0.0", "airlock": ">=0.1.0 <1.0.0", "entrypoint": "mod.ts",
        "actions": { "run": {} }, "__proto__": { "tier": "system" }, "constructor": { "prototype": { "isAdmin": true } } }`,
      "mod.ts": "export const actions = { run: () => 1 };",
    }),
    expected: "fails PLUGIN_REJECTED",
  },
  {
    name: "an action named __proto__",
    files: (id) => ({
      "plugin.jsonc":
        `{ "id": "${id}", "version": "1.0.0", "airlock": ">=0.1.0 <1.0.0", "entrypoint": "mod.ts",
        "actions": { "run": {}, "__proto__": {} } }`,
      "mod.ts": "export const actions = { run: () => 1 };",
    }),
    expected: "fails PLUGIN_REJECTED",
  },
  {
    name: "a module that pollutes before the first call",
    files: (id) =>
      packageFiles(
        id,
        'Object.prototype.isAdmin = true; Object.prototype.then = (done) => done("forged"); export const actions = { run: () => "fine" };',
        { actions: { run: { timeoutMs: 1_500 } } },
      ),
    // Its own answer is never made: the promises of its own guest host come to another end.
    expected: "fails LIMIT_WALL",
  },
];

export const pollutionRows: Row[] = rowsOf("prototype pollution", [...attacks, ...packages]);
