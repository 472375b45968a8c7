/** The ports that one native RabbitMQ listens on, all on the loopback address. */
export interface RabbitmqPorts {
  readonly amqp: number;
  readonly distribution: number;
  readonly epmd: number;
}

/** Where a native broker sees its data folder. */
export const rabbitmqHome = "/var/lib/rabbitmq";

/** The content of its `rabbitmq.conf`. No alarm may come from a small disk; memory is bounded, since several run at a time. */
export function rabbitmqConfiguration(ports: RabbitmqPorts): string {
  return [
    `listeners.tcp.1 = 127.0.0.1:${ports.amqp}`,
    "disk_free_limit.absolute = 1MB",
    "vm_memory_high_watermark.absolute = 1GB",
    "log.console = true",
    "log.console.level = info",
    "",
  ].join("\n");
}

/**
 * What the server is started with, native or in a container: after a kill, messages between two queues of the delay ladder are sent on again
 * after this time, which is three minutes by default (see the adapter's README).
 */
export const quickDeadLetterRetries = "-rabbit dead_letter_worker_publisher_confirm_timeout 5000";

/** The environment of the server and of `rabbitmqctl`. Nothing of the test run's own environment goes in. */
export function rabbitmqEnvironment(ports: RabbitmqPorts): Record<string, string> {
  const loopbackOnly = "-kernel inet_dist_use_interface {127,0,0,1}";
  // Two schedulers that sleep when idle: a broker beside a test run must not eat its processors.
  const modest = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none";
  return {
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    LC_ALL: "C.UTF-8",
    HOME: rabbitmqHome,
    RABBITMQ_NODENAME: "rabbit@localhost",
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_CONFIG_FILE: `${rabbitmqHome}/rabbitmq.conf`,
    RABBITMQ_ENABLED_PLUGINS_FILE: `${rabbitmqHome}/enabled_plugins`,
    RABBITMQ_MNESIA_BASE: `${rabbitmqHome}/mnesia`,
    RABBITMQ_LOG_BASE: `${rabbitmqHome}/log`,
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: `${rabbitmqHome}/pid`,
    RABBITMQ_DIST_PORT: String(ports.distribution),
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: `${modest} ${loopbackOnly} ${quickDeadLetterRetries}`,
    RABBITMQ_CTL_ERL_ARGS: `${modest} ${loopbackOnly}`,
    RABBITMQ_CTL_DIST_PORT_MIN: "0", // any free port
    RABBITMQ_CTL_DIST_PORT_MAX: "0",
    ERL_EPMD_PORT: String(ports.epmd),
    ERL_EPMD_ADDRESS: "127.0.0.1",
  };
}
