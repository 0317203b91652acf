// The client library, for programs that also bring the daemon.
module.exports = require("containerd-ts-client");
