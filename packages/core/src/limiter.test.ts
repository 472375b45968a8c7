import { expect, test } from "vitest";
import { createLimiter } from "./limiter.ts";

test("grants up to the limit, then in the order of asking", async () => {
  const limiter = createLimiter(1);
  expect(limiter.acquire()).toBe(true);
  const order: string[] = [];
  const waiting = ["a", "b"].map(async (name) => {
    await limiter.acquire();
    order.push(name);
    limiter.release();
  });
  expect(limiter.held).toBe(1);
  limiter.release();
  await Promise.all(waiting);
  expect(order).toEqual(["a", "b"]);
  expect(limiter.held).toBe(0);
});

test("a higher limit lets those in who wait, a lower one waits for those who hold", async () => {
  const limiter = createLimiter(1);
  expect(limiter.acquire()).toBe(true);
  const second = limiter.acquire();
  limiter.limit = 2;
  await expect(second).resolves.toBe(true);
  limiter.limit = 1;
  const third = limiter.acquire();
  limiter.release();
  expect(limiter.held).toBe(1);
  limiter.release();
  await expect(third).resolves.toBe(true);
});

test("nobody is let in while it is paused, nor after it was closed", async () => {
  const limiter = createLimiter(2);
  limiter.paused = true;
  const paused = limiter.acquire();
  limiter.paused = false;
  await expect(paused).resolves.toBe(true);
  limiter.paused = true;
  const waiting = limiter.acquire();
  limiter.close();
  await expect(waiting).resolves.toBe(false);
  expect(limiter.acquire()).toBe(false);
});
