import { expect, test } from "vitest";
import { rabbitmqConfiguration, rabbitmqEnvironment } from "./rabbitmq-native-settings.ts";

const ports = { amqp: 1001, distribution: 1002, epmd: 1003 };

test("clients are served on the loopback address only", () => {
  expect(rabbitmqConfiguration(ports)).toContain("listeners.tcp.1 = 127.0.0.1:1001\n");
});

test("the distribution and epmd listen on the loopback address only, the ones of rabbitmqctl too", () => {
  const env = rabbitmqEnvironment(ports);
  expect(env).toMatchObject({ RABBITMQ_DIST_PORT: "1002", ERL_EPMD_PORT: "1003", ERL_EPMD_ADDRESS: "127.0.0.1" });
  expect(env["RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS"]).toContain("inet_dist_use_interface {127,0,0,1}");
  expect(env["RABBITMQ_CTL_ERL_ARGS"]).toContain("inet_dist_use_interface {127,0,0,1}");
});
