import fc from "fast-check";
import { expect, test } from "vitest";
import { Failure } from "../failure/failure.js";
import { type HostsFile, parseHostsFile } from "./hosts-file.js";

const PATH = "/etc/containerd/certs.d/example.com/hosts.toml";
const read = (text: string): Promise<HostsFile> => parseHostsFile(text, PATH);
const shown = ({ mirrors, server }: HostsFile) => ({
  mirrors: mirrors.map(({ url, capabilities }) => `${url} ${[...capabilities]}`),
  server: server.url === undefined ? undefined : `${server.url}`,
});

test("a file as containerd's documents have it", async () => {
  const file = await read(`
    server = "https://registry-1.docker.io"
    ca = ["/etc/certs/ca.pem", "own.pem"]
    [host."https://mirror.gcr.io"]
      capabilities = ["pull", "Resolve"]
    [host."https://non-compliant-mirror.example:8080/v2/upstream"]
      capabilities = ["pull"]
      override_path = true
      skip_verify = true
      dial_timeout = "1s"
      [host."https://non-compliant-mirror.example:8080/v2/upstream".header]
        x-custom-1 = ["one", "two"]
        x-custom-2 = "three"
    [host."mirror.example/prefix"]
      ca = "/etc/ca.pem"
      client = [["/c.cert", "/c.key"], ["/both.pem", ""]]
    [host."http://plain.example:5000"]
      client = "/both.pem"
    [host."https://last.example/a//b/"]
      client = ["/1.pem", "2.pem"]
  `);
  expect(shown(file)).toEqual({
    mirrors: [
      "https://mirror.gcr.io/v2 pull,resolve",
      "https://non-compliant-mirror.example:8080/v2/upstream pull",
      "https://mirror.example/prefix/v2 pull,resolve,push",
      "http://plain.example:5000/v2 pull,resolve,push",
      "https://last.example/a/b/v2 pull,resolve,push",
    ],
    server: "https://registry-1.docker.io/v2",
  });
  const directory = "/etc/containerd/certs.d/example.com";
  expect(file.server.tls.ca.map(({ path }) => path)).toEqual(["/etc/certs/ca.pem", `${directory}/own.pem`]);
  const [, odd, prefixed, plain, last] = file.mirrors;
  expect(odd!.tls.skipVerify).toBe(true);
  expect(odd!.headers).toEqual([
    ["x-custom-1", "one"],
    ["x-custom-1", "two"],
    ["x-custom-2", "three"],
  ]);
  const pairs = (entry: typeof odd) => entry!.tls.client.map(({ cert, key }) => [cert.path, key.path]);
  expect(prefixed!.tls.ca.map(({ path }) => path)).toEqual(["/etc/ca.pem"]);
  expect(pairs(prefixed)).toEqual([
    ["/c.cert", "/c.key"],
    ["/both.pem", "/both.pem"],
  ]);
  expect(pairs(plain)).toEqual([["/both.pem", "/both.pem"]]);
  expect(pairs(last)).toEqual([
    ["/1.pem", "/1.pem"],
    [`${directory}/2.pem`, `${directory}/2.pem`],
  ]);
});

test("without a server the host itself is meant; an empty list of capabilities is all of them", async () => {
  expect(shown(await read('[host."a.b"]\ncapabilities = []'))).toEqual({
    mirrors: ["https://a.b/v2 pull,resolve,push"],
    server: undefined,
  });
});

test.each([
  ['server = "x', ":1:", "is no such line"],
  ["server = 5", "server", "is no string"],
  ['server = "ftp://x"', "server", '"ftp://x" is no URL'],
  ['server = "https://x/?y"', "server", "has more than a path"],
  ['[host."https://u:secret@x"]', "host", "has a user name"],
  ["host = 5", "host", "is no table"],
  ["[[host]]", "host", "is no table"],
  ['host."a.b" = 5', 'host."a.b"', "is no table"],
  ['[host."a.b"]\ncapabilities = "pull"', 'host."a.b".capabilities', "is no list"],
  ['[host."a.b"]\ncapabilities = ["pull", "fly"]', 'host."a.b".capabilities', '"fly" is none of pull, resolve, push'],
  ['[host."a.b"]\nskip_verify = "yes"', 'host."a.b".skip_verify', "is neither true nor false"],
  ['[host."a.b"]\noverride_path = 1', 'host."a.b".override_path', "is neither true nor false"],
  ['[host."a.b"]\nca = [1]', 'host."a.b".ca', "is no path of a file"],
  ['[host."a.b"]\nclient = [["a", "b", "c"]]', 'host."a.b".client', "a pair is"],
  ['[host."a.b".header]\n"a b" = "c"', 'host."a.b".header."a b"', "is no name of a header"],
  ['[host."a.b".header]\na = "c\\r\\nx: y"', 'host."a.b".header."a"', "has characters that no header can have"],
  ['[host."a.b".header]\na = 5', 'host."a.b".header."a"', "is neither a string nor a list of strings"],
  ['[host."a.b".header]\nHost = "x"', 'host."a.b".header."Host"', "is what each request says by itself"],
])("%s: %s %s", async (text, key, why) => {
  const error = await read(text).then(
    () => expect.unreachable(),
    (error) => error,
  );
  expect(error).toBeInstanceOf(Failure);
  expect(error).toMatchObject({ kind: "invalid-argument" });
  expect(error.message).toContain(PATH);
  expect(error.message).toContain(key);
  if (!why.startsWith("is no such")) expect(error.message).toContain(why);
  expect(error.message).not.toContain("secret");
});

test("a file that is broken after a secret: the error does not show it", async () => {
  const error = await read('[host."a.b".header]\nauthorization = "Basic c2VjcmV0" nonsense').catch((error) => error);
  expect(error.message).toContain(`${PATH}:2:`);
  expect(error.message).not.toContain("c2VjcmV0");
});

test("any text is a file, or an error that names it", async () => {
  const word = fc.constantFrom(
    ...["server", "host", "ca", "client", "header", "skip_verify", "capabilities", "__proto__", "constructor"],
    ...["=", ".", "[", "]", '"', '"a.b"', "\n", " ", "true", "5", "1979-05-27", "{", "}", ",", "'pull'", '"http://['],
  );
  await fc.assert(
    fc.asyncProperty(fc.oneof(fc.string(), fc.string({ unit: word, maxLength: 60 })), async (text) => {
      try {
        shown(await read(text));
      } catch (error) {
        expect(error).toBeInstanceOf(Failure);
        expect((error as Failure).message).toContain(PATH);
      }
    }),
    { numRuns: 1000 },
  );
});
