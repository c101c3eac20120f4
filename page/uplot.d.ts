/** uPlot's own script stands in the page before ours. */
// deno-lint-ignore no-explicit-any
declare const uPlot: any;
