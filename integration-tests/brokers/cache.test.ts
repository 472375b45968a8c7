import { homedir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { cacheFolder } from "./cache.ts";

test("the cache is where POSTHORN_CACHE says", () => {
  expect(cacheFolder({ POSTHORN_CACHE: "/own", XDG_CACHE_HOME: "/xdg" })).toBe("/own/brokers");
});

test("else it is in the user's cache folder", () => {
  expect(cacheFolder({ XDG_CACHE_HOME: "/xdg" })).toBe("/xdg/posthorn/brokers");
  expect(cacheFolder({ POSTHORN_CACHE: "" })).toBe(join(homedir(), ".cache/posthorn/brokers"));
});
