/**
 * The folder of Swagger UI's files, wherever Deno keeps the package: its cache, `node_modules`, or the binary.
 *
 * The process that starts the kernel asks for it, and lets the kernel read exactly this folder.
 *
 * @module
 */
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

/** Absolute. Runs nothing of the package. */
export function swaggerUiFolder(): string {
  return dirname(fileURLToPath(import.meta.resolve("swagger-ui-dist/swagger-ui.css")));
}

/**
 * Never called: Deno resolves, fetches and embeds only packages that some import of the program names.
 */
export const namesThePackage = () => import("swagger-ui-dist/absolute-path.js");
