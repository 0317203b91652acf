// The client library, for programs that also bring the daemon.
export * from "containerd-ts-client";
