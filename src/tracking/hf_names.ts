/** What transformers' trackers call a run's measurements. Pure. */

/** Names of the reference run; all others are TRL's, which transformers logs under train/. */
const BARE = /^(helpfulness|cost|combined|safety|lambda|eval|debug|time|unperturbed)\/|^iteration$/;

export const hfName = (name: string): string => BARE.test(name) ? name : `train/${name}`;
