/**
 * When JavaScript and the GPU wait for each other. JavaScript makes and encodes kernels one after the other; the GPU
 * begins what is submitted once it has done what came before; where something is read back, JavaScript waits. Pure.
 */
import type { Device } from "./devices.ts";
import type { Cost } from "./model.ts";
import type { Event } from "./record.ts";

/** Of a phase. */
export interface PhaseTime {
  name: string;
  /** Of the GPU, while it has work. */
  busy: number;
  /** Of the GPU, while it waits for JavaScript. */
  idle: number;
  /** Of JavaScript, whether the GPU waits or not. */
  js: number;
  launch: number;
  floor: number;
  dispatches: number;
  /** Kernels that were not replayed: called, or recorded, by JavaScript. */
  made: number;
  submits: number;
}

const newPhase = (name: string): PhaseTime => ({
  name,
  busy: 0,
  idle: 0,
  js: 0,
  launch: 0,
  floor: 0,
  dispatches: 0,
  made: 0,
  submits: 0,
});

/** @param costs of the calls, by their place @returns the phases in the order in which they begin */
export function timeline(events: readonly Event[], costs: readonly Cost[], { js }: Device): PhaseTime[] {
  const phases = new Map<string, PhaseTime>();
  let current = newPhase("");
  let [cpu, gpu] = [0, 0];
  /** Of the kernels that were encoded since the last submit. */
  let queued: { cost: Cost; phase: PhaseTime }[] = [];
  /** When the GPU has done each submit. */
  const done: number[] = [0];
  const phaseOf = (name: string) => {
    if (current.name === name) return current;
    let phase = phases.get(name);
    if (!phase) phases.set(name, phase = newPhase(name));
    return current = phase;
  };
  for (const event of events) {
    if (event.type === "dispatch") {
      const phase = phaseOf(event.phase);
      const seconds = js.dispatch + (event.isNew ? js.record : 0);
      cpu += seconds;
      phase.js += seconds;
      phase.dispatches++;
      phase.made += +event.isNew;
      queued.push({ cost: costs[event.call], phase });
    } else if (event.type === "submit") {
      cpu += js.submit;
      current.js += js.submit;
      current.submits++;
      const first = queued[0]?.phase ?? current;
      first.idle += Math.max(0, cpu - gpu);
      gpu = Math.max(gpu, cpu);
      for (const { cost, phase } of queued) {
        gpu += cost.seconds;
        phase.busy += cost.seconds;
        phase.launch += cost.launch;
        phase.floor += cost.floor;
      }
      queued = [];
      done.push(gpu);
    } else {
      cpu = Math.max(cpu, done[event.submits]);
    }
  }
  return [...phases.values()];
}
