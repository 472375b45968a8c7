import type { Transport } from "@posthorn/core";
import type {
  Bounds,
  ContractHarness,
  Faults,
  HangingConsumer,
  HangingJob,
  Link,
  OpenEnvironment,
  Place,
} from "@posthorn/contract-tests";
import { rabbitmq } from "@posthorn/rabbitmq";
import type { RabbitmqBroker, RabbitmqControl } from "../brokers/broker.ts";
import { spawnHangingConsumer } from "./hanging-consumer-process.ts";
import { nativeRabbitmq, queueNames } from "./rabbitmq-native.ts";
import { openTcpLink } from "./tcp-link.ts";
import { uniqueNames } from "./unique-names.ts";

const heartbeatSeconds = 1;
const bounds: Bounds = {
  patienceMs: 10_000,
  redeliveryMs: 10_000,
  resumeMs: 20_000,
  // RabbitMQ and amqplib both give a silent connection up after two to three heartbeats.
  detectMs: 8_000 * heartbeatSeconds,
  leaseMs: 3_000 * heartbeatSeconds,
  delayToleranceMs: 2_000,
  backlog: 5_000,
};

export function rabbitmqHarness(broker: RabbitmqBroker): ContractHarness {
  const native = nativeRabbitmq(broker.url);
  const openTransport = (environment: OpenEnvironment = {}): Transport =>
    rabbitmq({ url: broker.url, heartbeatSeconds }, environment);
  return {
    name: `rabbitmq ${broker.version}`,
    capabilities: openTransport().capabilities,
    bounds,
    native,
    faults: rabbitmqFaults(broker),
    openTransport,
    openWithWrongCredentials: () => rabbitmq({ url: broker.url, username: "nobody", password: "wrong-secret" }),
    uniqueName: uniqueNames(),
    async dispose() {
      await native.close();
      await broker.stop();
    },
  };
}

function rabbitmqFaults(broker: RabbitmqBroker): Faults {
  const control = broker.control ?? noControl(broker.url);
  return {
    openLink: () => rabbitmqLink(broker.url),
    closeConnections: () => control.closeAllConnections("maintenance"),
    breakConsumers: (place) => evaluate(control, failConsumersOf(place)),
    // A quorum queue is on disk up to half a second after its declaration was confirmed (the names of Ra, with `auto_save`):
    // the last one would not come back from a kill before that.
    async killBroker() {
      await evaluate(control, "[dets:sync(Table) || Table <- dets:all()]");
      await control.kill();
    },
    startBroker: () => control.start(),
    blockPublishers: () =>
      evaluate(
        control,
        `vm_memory_monitor:set_vm_memory_high_watermark({absolute, 1000000}), ${until("rabbit_alarm:get_alarms() =/= []")}`,
      ),
    unblockPublishers: () =>
      evaluate(
        control,
        `vm_memory_monitor:set_vm_memory_high_watermark(0.4), ${until("rabbit_alarm:get_alarms() =:= []")}`,
      ),
    startHangingConsumer: (job: HangingJob): Promise<HangingConsumer> => spawnHangingConsumer(broker.url, job),
  };
}

/** A broker that was given by its address can be used, and not be hurt. */
function noControl(url: string): RabbitmqControl {
  const refuse = (): Promise<never> =>
    Promise.reject(
      new Error(
        `The broker at ${new URL(url).host} was not started by the tests: it cannot be hurt, and the cases that need it fail.`,
      ),
    );
  return {
    ctl: refuse,
    closeAllConnections: refuse,
    kill: refuse,
    shutDown: refuse,
    start: refuse,
    pause: refuse,
    resume: refuse,
  };
}

async function evaluate(control: RabbitmqControl, erlang: string): Promise<void> {
  await control.ctl("eval", `${erlang}.`);
}

const until = (condition: string): string =>
  `F = fun F() -> case ${condition} of true -> ok; false -> timer:sleep(50), F() end end, F()`;

/** Settles a delivery that never was on the channel of each consumer: the broker closes it with 406, as after a client's mistake. */
function failConsumersOf(place: Place): string {
  const queues = queueNames(place).map((queue) => `<<"${queue}">>`);
  return `[begin {ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, Name)), [rabbit_channel:do(element(1, C), {'basic.ack', 999999999, false}) || C <- rabbit_amqqueue:consumers(Q)] end || Name <- [${queues.join(", ")}]]`;
}

async function rabbitmqLink(url: string): Promise<Link> {
  const { hostname, port } = new URL(url);
  const link = await openTcpLink({ host: hostname, port: Number(port || 5672) });
  const through = new URL(url);
  through.hostname = "127.0.0.1";
  through.port = String(link.port);
  return {
    openTransport: (environment = {}) => rabbitmq({ url: through.href, heartbeatSeconds }, environment),
    cut: async () => link.cut(),
    down: async () => void (link.mode = "down"),
    stall: async () => void (link.mode = "stall"),
    swallowAnswers: async () => void (link.mode = "deaf"),
    restore: async () => void (link.mode = "pass"),
    close: () => link.close(),
  };
}
