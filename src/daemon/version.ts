declare const CONTAINERD_TS_VERSION: string;

/** Set by the build. 0.2.x: the protocol and the state directory are containerd 0.2's. */
export const version: string = CONTAINERD_TS_VERSION;
