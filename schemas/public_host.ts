/**
 * A public host: a name of the internet's, as opposed to an address or a name of one machine or network.
 *
 * It is what a plugin is given without its operator; everything else an operator must have named. Pure.
 *
 * @module
 */

/** Names that resolve inside a machine, a network or nowhere: RFC 6761, 6762, 7686, 8375 and custom. */
const privateSuffixes = [
  "localhost",
  "localdomain",
  "local",
  "internal",
  "intranet",
  "private",
  "lan",
  "home",
  "corp",
  "home.arpa",
  "test",
  "invalid",
  "example",
  "onion",
  "alt",
];

/** Whether a host without wildcard is a DNS name of the public internet, as far as its name tells. */
export function isPublicHost(host: string): boolean {
  if (!host.includes(".") || host.startsWith("[") || isNumericHost(host)) return false;
  return !privateSuffixes.some((suffix) => host === suffix || host.endsWith(`.${suffix}`));
}

/** URL parsers and resolvers read such a name as an IPv4 address, in whatever notation. */
export function isNumericHost(name: string): boolean {
  return /(?:^|\.)(?:[0-9]+|0x[0-9a-f]*)$/.test(name);
}
