/** How long the processor was busy with `run`, in milliseconds: others who want it too do not make that longer. */
export function busy(run) {
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}
