/**
 * The repository's own TypeScript, as the structure tests see it: paths, texts and syntax trees.
 *
 * @module
 */
import { dirname, join, relative } from "node:path";

const root = new URL("../../", import.meta.url).pathname;

/** Not ours, or not written by hand. */
const skipped = [".git", "node_modules", "data", "dist", "sandbox/dist"];

export interface SourceFile {
  /** Relative to the repository. */
  readonly path: string;
  readonly text: string;
  readonly isTest: boolean;
}

/** Every `.ts` file, by path. */
export function sourceFiles(folder = ""): SourceFile[] {
  const files: SourceFile[] = [];
  for (const { name, isDirectory } of Deno.readDirSync(join(root, folder))) {
    const path = join(folder, name);
    if (skipped.includes(path) || skipped.includes(name) && folder !== "sandbox") continue;
    if (isDirectory) files.push(...sourceFiles(path));
    else if (name.endsWith(".ts")) files.push(sourceFile(path));
  }
  return files.sort((a, b) => a.path < b.path ? -1 : 1);
}

export function sourceFile(path: string): SourceFile {
  // What only tests use stands in folders named for it, or beside the tests of the plugins.
  const isTest = /_test\.ts$|^tests\/|^bench\/|\/testing(?:_[a-z_]+)?(?:\/|\.ts$)|test_context\.ts$/.test(
    path,
  );
  return { path, text: Deno.readTextFileSync(join(root, path)), isTest };
}

export interface Import {
  readonly specifier: string;
  /** The file it leads to, relative to the repository; absent for a package. */
  readonly path: string | undefined;
  /** Erased: nothing of it is loaded. */
  readonly isType: boolean;
  /** `import()`, which loads nothing until it is reached. */
  readonly isDynamic: boolean;
}

export function importsOf(file: SourceFile): Import[] {
  const imports: Import[] = [];
  const add = (source: unknown, isType: boolean, isDynamic: boolean) => {
    if (!isLiteral(source)) return;
    const specifier = source.value;
    const path = specifier.startsWith(".")
      ? relative(root, join(root, dirname(file.path), specifier))
      : undefined;
    imports.push({ specifier, path, isType, isDynamic });
  };
  visit(file, {
    ImportDeclaration: (node) => add(node.source, node.importKind === "type", false),
    ExportNamedDeclaration: (node) => add(node.source, node.exportKind === "type", false),
    ExportAllDeclaration: (node) => add(node.source, node.exportKind === "type", false),
    ImportExpression: (node) => add(node.source, false, true),
  });
  return imports;
}

function isLiteral(source: unknown): source is { value: string } {
  return typeof source === "object" && source !== null && "value" in source &&
    typeof source.value === "string";
}

/** Walks the syntax tree; the parser is the one of `deno lint`. */
export function visit(file: SourceFile, visitor: Deno.lint.LintVisitor): void {
  Deno.lint.runPlugin(
    { name: "structure", rules: { visit: { create: () => visitor } } },
    file.path,
    file.text,
  );
}

/** 1-based. */
export function lineOf(file: SourceFile, offset: number): number {
  return file.text.slice(0, offset).split("\n").length;
}
