import { PosthornError } from "./errors.ts";
import type { CreateTransport, Transport, TransportEnvironment } from "./transport.ts";

/** What an adapter package exports. */
export interface TransportModule {
  readonly createTransport: CreateTransport;
}

/** Which brokers an application can be configured for: URL scheme → how its adapter is loaded. Only what is chosen is loaded. */
export type TransportRegistry = Readonly<Record<string, () => Promise<TransportModule>>>;

/** A broker as configuration: a URL, or an object whose `transport` names the registry's entry. */
export type TransportConfig = string | (Readonly<Record<string, unknown>> & { readonly transport: string });

/**
 * Opens the transport that a configuration value names.
 *
 * The scheme of a URL is the registry's key; `amqps:` falls back to `amqp` and so on. The transport is not connected yet.
 *
 * @throws UNKNOWN_TRANSPORT, listing what is known; INVALID_OPTION from the adapter
 */
export async function openTransport(
  config: TransportConfig,
  registry: TransportRegistry,
  environment?: Partial<TransportEnvironment>,
): Promise<Transport> {
  const name = transportName(config);
  const load = entry(registry, name) ?? (name.endsWith("s") ? entry(registry, name.slice(0, -1)) : undefined);
  if (load === undefined) {
    const known = Object.keys(registry).join(", ") || "none";
    throw new PosthornError(
      "UNKNOWN_TRANSPORT",
      `No transport is registered for ${JSON.stringify(name)}. Registered: ${known}. Use one of them or add it to the registry of openTransport.`,
      {
        details: { name, known: Object.keys(registry) },
      },
    );
  }
  const module = await load();
  return module.createTransport(config, environment);
}

function entry(registry: TransportRegistry, name: string): (() => Promise<TransportModule>) | undefined {
  return Object.hasOwn(registry, name) ? registry[name] : undefined;
}

function transportName(config: TransportConfig): string {
  if (typeof config !== "string") {
    if (typeof config?.transport === "string") return config.transport;
    throw new PosthornError(
      "UNKNOWN_TRANSPORT",
      `A transport's configuration must be a URL or an object with a "transport" property.`,
    );
  }
  // Not the URL itself: it may hold a password.
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):/.exec(config)?.[1];
  if (scheme === undefined)
    throw new PosthornError(
      "UNKNOWN_TRANSPORT",
      `A transport's URL must begin with a scheme, such as "memory:" or "amqp://".`,
    );
  return scheme.toLowerCase();
}
