// Package bootcheck boots a baked image in every way that it can be booted,
// and asks the running system whether it is what the recipe says.
//
// The flow: [Scenarios] lists the boots, [Run] performs one of them: it makes
// a network that leads nowhere, starts a machine with the artifacts of the
// image, gives it an Ignition config, waits until the system answers on a
// serial port, and runs [Check] values in it: [SystemChecks] on every boot,
// those of Kubernetes and docker in the long one.
//
// Promises:
//   - The recipe and the manifest are the oracle: kernel, sysctls, modules,
//     journal limits and root hash are compared with them, and listed nowhere
//     else.
//   - No artifact is changed: disks are overlays.
//   - A machine that says that it cannot go on, that panics or that is off
//     ends a wait at once. What the console and the journal said is kept and
//     named in the error.
//
// It does not bake, and it does not cover the way over a real network: package
// wholepath does.
//
// Start with Run.
package bootcheck
