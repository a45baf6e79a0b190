// Package client speaks the machine API of package provision/api: it fetches
// the install plan, downloads artifacts and sends reports.
//
// A machine without a seed asks for it with an [Asker].
//
// The flow: [New] takes an api.Seed; [Client.Plan] fetches what to install,
// [Client.Range] and [Client.Download] read the image, [Client.Report] sends
// one report and a [Reporter] many of them, without ever holding up the work.
//
// Promises:
//   - The seed's authority is the only one that is trusted; the system's roots
//     and proxy settings are not read.
//   - The token goes to the seed's server alone: artifacts are fetched without
//     it, and redirects are errors, never followed.
//   - Errors that another try does not cure (a 4xx answer, an untrusted
//     certificate, a malformed plan) are marked with retry.Permanent.
//   - A server that stops sending in the middle of a body is an error after
//     Options.Idle, not a hang.
//
// It does not decide how often to try (package retry), nor check the bytes of
// artifacts: the caller has their digests.
package client
