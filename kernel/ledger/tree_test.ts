import assert from "node:assert/strict";
import { naiveRoot } from "./testing/ledger_support.ts";
import { emptyRootHash, Frontier, hashLeaf } from "./tree.ts";

// The reference vectors of RFC 6962's authors (certificate-transparency, merkletree tests): the roots of the
// first 1 to 8 of these entries.
const entriesHex = [
  "",
  "00",
  "10",
  "2021",
  "3031",
  "40414243",
  "5051525354555657",
  "606162636465666768696a6b6c6d6e6f",
];
const rootsHex = [
  "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
  "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
  "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
  "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
  "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
  "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
  "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
  "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
];

Deno.test("Frontier gives the roots of the RFC 6962 vectors", () => {
  const tree = new Frontier();
  assert.equal(tree.rootHash(), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  assert.equal(tree.rootHash(), emptyRootHash);
  entriesHex.forEach((hex, index) => {
    tree.append(hashLeaf(new TextDecoder().decode(Uint8Array.fromHex(hex))));
    assert.equal(tree.rootHash(), rootsHex[index]);
    assert.equal(tree.size, index + 1);
  });
});

Deno.test("Frontier agrees with the recursive definition up to 130 leaves", () => {
  const tree = new Frontier();
  const entries: Uint8Array[] = [];
  for (let n = 1; n <= 130; n++) {
    const entry = `entry ${n} é`;
    entries.push(new TextEncoder().encode(entry));
    tree.append(hashLeaf(entry));
    assert.equal(tree.rootHash(), naiveRoot(entries).toHex(), `${n} leaves`);
  }
});
