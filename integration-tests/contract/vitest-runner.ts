import type { Runner } from "@posthorn/contract-tests";
import { afterAll, describe, test } from "vitest";

export const vitestRunner: Runner = { describe, test, concurrentTest: test.concurrent, afterAll };
