import { declareContract } from "@posthorn/contract-tests";
import { memoryHarness } from "./memory-harness.ts";
import { vitestRunner } from "./vitest-runner.ts";

declareContract(memoryHarness("queue"), vitestRunner);
declareContract(memoryHarness("log"), vitestRunner);
