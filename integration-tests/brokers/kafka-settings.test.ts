import { expect, test } from "vitest";
import { formatArguments, kafkaConfiguration, kafkaPortCount, kafkaPorts, newClusterId } from "./kafka-settings.ts";

const free = Array.from({ length: kafkaPortCount }, (_, index) => 1001 + index);
const ports = kafkaPorts(free);

/** The value of a setting, in its parts. */
function setting(name: string, place: { readonly bind: string; readonly host: string }): string[] {
  const configuration = kafkaConfiguration({ ports, ...place, data: "/data", keystore: "/keystore.pem" });
  const line = configuration.split("\n").find((line) => line.startsWith(`${name}=`));
  return line?.slice(name.length + 1).split(",") ?? [];
}

const here = { bind: "127.0.0.1", host: "127.0.0.1" };

test("every free port has one use: to be listened at, or to be left to a proxy", () => {
  const { plain, secured, controller, links } = ports;
  const used = [plain, secured, controller, ...links.flatMap((link) => [link.listenPort, link.advertisedPort])];
  expect(used).toEqual(free);
});

test("a plain, a secured and a controller's listener, and the links", () => {
  expect(setting("listeners", here)).toEqual([
    "PLAIN://127.0.0.1:1001",
    "SECURED://127.0.0.1:1002",
    ...ports.links.map(({ listenPort }, index) => `LINK${index}://127.0.0.1:${listenPort}`),
    "CONTROLLER://127.0.0.1:1003",
  ]);
});

test("a link advertises the port of its proxy, every other listener itself", () => {
  expect(setting("advertised.listeners", here)).toEqual([
    "PLAIN://127.0.0.1:1001",
    "SECURED://127.0.0.1:1002",
    ...ports.links.map(({ advertisedPort }, index) => `LINK${index}://127.0.0.1:${advertisedPort}`),
  ]);
});

test("in a container all addresses are bound, and that of the host is advertised; proxies are where the tests are", () => {
  const container = { bind: "0.0.0.0", host: "docker.example" };
  expect(setting("listeners", container)).toContain("PLAIN://0.0.0.0:1001");
  expect(setting("advertised.listeners", container)).toContain("PLAIN://docker.example:1001");
  expect(setting("advertised.listeners", container)).toContain(`LINK0://127.0.0.1:${ports.links[0]?.advertisedPort}`);
});

test("only the secured listener wants TLS and a user", () => {
  const protocols = setting("listener.security.protocol.map", here);
  expect(protocols.filter((protocol) => !protocol.endsWith(":PLAINTEXT"))).toEqual(["SECURED:SASL_SSL"]);
});

test("one that is alone has all replicas there are, and a member of three wants two of three in sync", () => {
  const values = (text: string): Map<string, string> =>
    new Map(text.split("\n").map((line): [string, string] => [line.split("=")[0] ?? "", line.split("=")[1] ?? ""]));
  const place = { ports, ...here, data: "/data", keystore: "/keystore.pem" };
  const alone = values(kafkaConfiguration(place));
  expect(alone.get("controller.quorum.voters")).toBe("1@127.0.0.1:1003");
  expect(alone.get("offsets.topic.replication.factor")).toBe("1");
  expect(alone.get("min.insync.replicas")).toBe("1");
  const controllers = [1, 2, 3].map((id) => ({ id, port: 2000 + id }));
  const member = values(kafkaConfiguration({ ...place, membership: { id: 2, controllers } }));
  expect(member.get("node.id")).toBe("2");
  expect(member.get("controller.quorum.voters")).toBe("1@127.0.0.1:2001,2@127.0.0.1:2002,3@127.0.0.1:2003");
  expect(member.get("offsets.topic.replication.factor")).toBe("3");
  expect(member.get("min.insync.replicas")).toBe("2");
});

test("too few ports are refused", () => {
  expect(() => kafkaPorts([1, 2, 3])).toThrow(`${kafkaPortCount} ports, not 3`);
});

test("the user is made for both kinds of SCRAM when the data folder is", () => {
  const users = formatArguments("id", "/server.properties").filter((argument) => argument.startsWith("SCRAM"));
  expect(users).toEqual([
    "SCRAM-SHA-256=[name=posthorn,password=posthorn-secret]",
    "SCRAM-SHA-512=[name=posthorn,password=posthorn-secret]",
  ]);
});

test("no cluster id begins with a hyphen, which is an option to StorageTool", () => {
  const ids = Array.from({ length: 1_000 }, newClusterId);
  expect(ids.filter((id) => !/^\w[\w-]{21}$/.test(id))).toEqual([]);
});
