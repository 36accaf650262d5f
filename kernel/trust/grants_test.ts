import assert from "node:assert/strict";
import {
  type Capabilities,
  capabilitiesSchema,
  type OperatorGrants,
  type PermissionName,
} from "../../schemas/capabilities.ts";
import { ProblemError } from "../../schemas/problem.ts";
import { checkOperatorGrants, computeGrants, faultsOfRequest, grantsNeedSealed, sysKinds } from "./grants.ts";

const forbidden = ["/var/airlock/data", "/opt/airlock/code"];
const packageFolder = "/var/airlock/data/packages/ab12";
const dataFolder = "/var/airlock/data/plugins/hello";

function request(part: Partial<Record<PermissionName, string[]>> & { eval?: boolean } = {}): Capabilities {
  return capabilitiesSchema.parse(part);
}

function grantsFor(part: Parameters<typeof request>[0], operator?: OperatorGrants) {
  return computeGrants({ requested: request(part), operator, packageFolder, dataFolder, forbidden });
}

/** The message of the fault, or "granted". */
function verdict(name: PermissionName, requested: string, granted: string): string {
  try {
    checkOperatorGrants(request({ [name]: [requested] }), { [name]: [granted] }, forbidden);
    return "granted";
  } catch (error) {
    assert.ok(error instanceof ProblemError);
    assert.equal(error.code, "GRANT_REFUSED");
    assert.deepEqual(error.options.errors?.map(({ path }) => path), [`/${name}/0`]);
    return error.options.errors?.[0].message ?? "";
  }
}

Deno.test("computeGrants() gives the two folders, public hosts with a port, and nothing else", () => {
  const everything = {
    net: [
      "api.example.com:443",
      "API.example.com:443",
      "example.com",
      "*:443",
      "*.example.com:443",
      "*",
      "localhost:80",
      "printer.local:80",
      "x.localhost:80",
      "db.internal:5432",
      "router.home.arpa:80",
      "a.test:1",
      "a.invalid:1",
      "a.example:1",
      "a.onion:1",
      "intranet:80",
      "127.0.0.1:80",
      "8.8.8.8:53",
      "[2001:db8::1]:443",
    ],
    read: ["/etc", "*", "${package}/model.json", "/"],
    write: ["${data}", "/tmp"],
    run: ["git"],
    env: ["HOME", "AWS_*"],
    sys: ["hostname"],
    ffi: ["/usr/lib/x.so"],
    eval: true,
  };
  assert.deepEqual(grantsFor(everything), {
    net: ["api.example.com:443"],
    read: [packageFolder, dataFolder],
    write: [dataFolder],
    run: [],
    env: [],
    sys: [],
    ffi: [],
    eval: false,
  });
});

Deno.test("computeGrants() adds what the operator chose, sorted and once", () => {
  const grants = grantsFor(
    {
      net: ["*:443", "b.example.com:80"],
      read: ["*", "${data}"],
      write: ["/srv"],
      run: ["git"],
      env: ["AWS_*"],
      sys: ["*"],
      ffi: ["${package}/lib.so"],
      eval: true,
    },
    {
      net: ["LOCALHOST:443", "a.example.com:443", "a.example.com:443", "[::0:1]:443"],
      read: ["/srv/models/", "${data}"],
      write: ["/srv/out"],
      run: ["/usr/bin/git"],
      env: ["AWS_REGION"],
      sys: ["hostname"],
      ffi: ["${package}/lib.so"],
      eval: true,
    },
  );
  assert.deepEqual(grants, {
    net: ["[::1]:443", "a.example.com:443", "b.example.com:80", "localhost:443"],
    read: ["/srv/models", packageFolder, dataFolder].sort(),
    write: ["/srv/out", dataFolder].sort(),
    run: ["/usr/bin/git"],
    env: ["AWS_REGION"],
    sys: ["hostname"],
    ffi: [`${packageFolder}/lib.so`],
    eval: true,
  });
  assert.ok(grantsNeedSealed(grants));
  assert.ok(!grantsNeedSealed(grantsFor({})));
});

Deno.test("checkOperatorGrants() decides net by host and port", () => {
  const rows: [requested: string, granted: string, verdict: RegExp][] = [
    ["*", "example.com:443", /granted/],
    ["*", "localhost:8080", /granted/],
    ["*", "127.0.0.1:8080", /granted/],
    ["*", "[::1]:80", /granted/],
    ["*:443", "example.com:443", /granted/],
    ["*:443", "example.com:80", /requested/],
    ["*.example.com:443", "a.example.com:443", /granted/],
    ["*.example.com:443", "a.b.example.com:443", /granted/],
    ["*.example.com:443", "example.com:443", /requested/],
    ["*.example.com:443", "badexample.com:443", /requested/],
    ["*.example.com:443", "a.example.com.evil.org:443", /requested/],
    ["example.com", "example.com:80", /granted/],
    ["example.com:443", "Example.COM:443", /granted/],
    ["example.com:443", "example.com:80", /requested/],
    ["127.0.0.1:80", "127.0.0.1:80", /granted/],
    ["*", "*", /exactly one/],
    ["*", "*:443", /exactly one/],
    ["*", "*.com:443", /exactly one/],
    ["*", "*.example.com:443", /exactly one/],
    ["*", "example.com", /must have a port/],
    ["*", "example.com:0", /port from 1/],
    ["*", "example.com:65536", /port from 1/],
    ["*", "example.com:0443", /port from 1/],
    ["*", "example.com:+443", /host and a port/],
    ["*", "example.com:", /host and a port/],
    ["*", "https://example.com", /host and a port/],
    ["*", "https://example.com:443", /host and a port/],
    ["*", "example.com/path:443", /host of a-z/],
    ["*", "user@example.com:443", /host of a-z/],
    ["*", "a.com,b.com:443", /host of a-z/],
    ["*", "a b.com:443", /host of a-z/],
    ["*", "ex%61mple.com:443", /host of a-z/],
    ["*", "exämple.com:443", /host of a-z/],
    ["*", "example.com.:443", /host of a-z/],
    ["*", "a..com:443", /host of a-z/],
    ["*", "-a.com:443", /host of a-z/],
    ["*", "a.*.com:443", /host of a-z/],
    ["*", "10.0.0.0/8:443", /host of a-z/],
    ["*", "2130706433:80", /usual form/],
    ["*", "0x7f.1:80", /usual form/],
    ["*", "127.1:80", /usual form/],
    ["*", "0177.0.0.1:80", /usual form/],
    ["*", "127.0.0.256:80", /usual form/],
    ["*", "0x7F000001:80", /usual form/],
    ["*", "::1", /host and a port/],
    ["*", "[::1", /host and a port/],
    ["*", "[fe80::1%eth0]:80", /IPv6/],
    ["*", "[::1]@evil.com:80", /host and a port/],
    ["*", "unix:/run/x.sock", /host and a port/],
    ["*", "unix:80", /not a socket/],
    ["*", "vsock:1:2", /host and a port/],
  ];
  for (const [requested, granted, expected] of rows) {
    assert.match(verdict("net", requested, granted), expected, `${requested} ← ${granted}`);
  }
});

Deno.test("checkOperatorGrants() decides paths by folder, and refuses Airlock's own", () => {
  const rows: [name: PermissionName, requested: string, granted: string, verdict: RegExp][] = [
    ["read", "*", "/srv/models", /granted/],
    ["read", "/", "/srv/models", /granted/],
    ["read", "/srv", "/srv/models", /granted/],
    ["read", "/srv", "/srv", /granted/],
    ["read", "/srv", "/srv2", /requested/],
    ["read", "/srv/models", "/srv", /requested/],
    ["read", "${data}", "${data}/x", /granted/],
    ["read", "*", "${package}", /requested/],
    ["write", "/srv", "/srv/out", /granted/],
    ["read", "*", "*", /exactly one/],
    ["read", "*", "/srv/*", /must not contain \*/],
    ["read", "*", "/", /not everything/],
    ["read", "*", "//", /not everything/],
    ["read", "*", "/srv//x", /segments/],
    ["read", "*", "/srv/../var/airlock/data", /segments/],
    ["read", "*", "/srv/./x", /segments/],
    ["read", "*", "models", /absolute/],
    ["read", "*", "${home}/x", /absolute/],
    ["read", "*", "${data}x", /absolute/],
    ["read", "*", "/srv/a,b", /comma/],
    ["read", "*", "/var", /or above/],
    ["read", "*", "/var/airlock", /or above/],
    ["read", "*", "/var/airlock/data", /or above/],
    ["read", "*", "/var/airlock/data/", /or above/],
    ["read", "*", "/var/airlock/data/admin.token", /or above/],
    ["read", "*", "/opt/airlock/code/main.ts", /or above/],
    ["read", "*", "/var/airlock/database", /granted/],
    ["read", "*", "/proc/self/root/etc", /\/proc/],
    ["read", "*", "/sys", /\/sys/],
    ["read", "*", "/dev/mem", /\/dev/],
    ["write", "*", "${package}/x", /\$\{package\}/],
    ["write", "/opt", "/opt/airlock", /or above/],
    ["run", "git", "/usr/bin/git", /granted/],
    ["run", "*", "/usr/bin/git", /granted/],
    ["run", "/usr/bin/git", "/usr/bin/git", /granted/],
    ["run", "/usr/bin/git", "/usr/local/bin/git", /requested/],
    ["run", "git", "/usr/bin/notgit", /requested/],
    ["run", "git", "git", /absolute path/],
    ["run", "*", "bin/git", /name or absolute path/],
    ["run", "*", "${package}/git", /name or absolute path/],
    ["run", "deno", "/opt/airlock/code/deno", /or above/],
    ["run", "data", "/var/airlock/data", /or above/],
    ["env", "HOME", "HOME", /granted/],
    ["env", "AWS_*", "AWS_REGION", /granted/],
    ["env", "*", "HOME", /granted/],
    ["env", "AWS_*", "GCP_REGION", /requested/],
    ["env", "HOME", "HOMEX", /requested/],
    ["env", "AWS_*", "AWS_*", /exactly one/],
    ["env", "*", "A=B", /environment variable/],
    ["env", "*", "LD_PRELOAD", /must not begin/],
    ["env", "*", "DENO_DIR", /must not begin/],
    ["sys", "hostname", "hostname", /granted/],
    ["sys", "*", "hostname", /granted/],
    ["sys", "*", "inspector", /must be one of/],
    ["sys", "*", "hostnam", /did you mean "hostname"/],
    ["sys", "uid", "gid", /requested/],
    ["ffi", "*", "/usr/lib/x.so", /granted/],
    ["ffi", "${package}/x.so", "${package}/x.so", /granted/],
    ["ffi", "*", "${package}/x.so", /requested/],
    ["ffi", "${package}", "${package}", /name a file/],
    ["ffi", "*", "${data}/x.so", /\$\{data\}/],
    ["ffi", "*", "/var/airlock/data/x.so", /or above/],
  ];
  for (const [name, requested, granted, expected] of rows) {
    assert.match(verdict(name, requested, granted), expected, `${name} ${requested} ← ${granted}`);
  }
});

Deno.test("checkOperatorGrants() gives all faults at once", () => {
  assert.throws(
    () => checkOperatorGrants(request({}), { net: ["*"], read: ["/srv", "/"], eval: true }, forbidden),
    (error) => {
      assert.ok(error instanceof ProblemError);
      assert.equal(
        error.message,
        'Cannot grant net of "*": it must name exactly one, without *, and 3 more',
      );
      assert.deepEqual(error.options.errors?.map(({ path }) => path), [
        "/net/0",
        "/read/0",
        "/read/1",
        "/eval",
      ]);
      return true;
    },
  );
});

Deno.test("checkOperatorGrants() refuses an empty request and a list too long to be in force", () => {
  assert.doesNotThrow(() => checkOperatorGrants(request({}), undefined, forbidden));
  assert.doesNotThrow(() => checkOperatorGrants(request({}), {}, forbidden));
  const read = Array.from({ length: 256 }, (_, index) => `/srv/${index}`);
  assert.throws(
    () => checkOperatorGrants(request({ read: ["*"] }), { read }, forbidden),
    /Cannot grant read/,
  );
});

Deno.test("faultsOfRequest() says what a manifest cannot request", () => {
  assert.deepEqual(
    faultsOfRequest(request({ net: ["*"], read: ["/", "*"], run: ["git"], env: ["A_*"] })),
    [],
  );
  const faults = faultsOfRequest(
    request({ net: ["http://a.com"], write: ["${package}"], sys: ["pid"], run: ["a/b"] }),
  );
  assert.deepEqual(faults.map(({ path }) => path), ["/net/0", "/write/0", "/run/0", "/sys/0"]);
});

Deno.test("computeGrants() gives only what Deno's own flags take", async () => {
  const grants = grantsFor(
    { net: ["*", "a.example.com:443"], env: ["*"], sys: ["*"], read: ["*"] },
    {
      net: ["[2001:db8::1]:443", "127.0.0.1:80", "a_b.example.com:1"],
      env: ["A_B"],
      sys: [...sysKinds],
      read: ["/srv"],
    },
  );
  const flags = (["net", "env", "sys", "read"] as const).map((name) =>
    `--allow-${name}=${grants[name].join(",")}`
  );
  const { code, stderr } = await new Deno.Command(Deno.execPath(), {
    args: ["run", "--no-prompt", "--no-config", ...flags, "data:text/javascript,"],
    stdout: "null",
  }).output();
  assert.equal(code, 0, new TextDecoder().decode(stderr));
});
