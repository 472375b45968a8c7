import { queue } from "@posthorn/core";
import { z } from "zod";

const schema = z.object({ number: z.int() });
export const ChargeCard = queue("lambda-frozen").command("charge", { schema });
export const CardCharged = queue("lambda-frozen-results").document("charged", { schema });
