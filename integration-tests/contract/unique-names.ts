/** Names for channels: the case's id, the run, and a number. */
export function uniqueNames(): (caseId: string) => string {
  const run = Date.now().toString(36);
  let count = 0;
  return (caseId) => `${caseId}-${run}-${(count++).toString(36)}`;
}
