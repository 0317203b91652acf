declare const CONTAINERD_TS_VERSION: string;

/** Of this program; set by the build. */
export const VERSION: string = CONTAINERD_TS_VERSION;
