declare const CONTAINERD_TS_VERSION: string;
declare const CONTAINERD_TS_COMMIT: string;

/** Set by the build. 0.2.x: the protocol and the state directory are containerd 0.2's. */
export const VERSION: string = CONTAINERD_TS_VERSION;

/** The commit that was built; empty when it was not built from one. */
export const COMMIT: string = CONTAINERD_TS_COMMIT;
