// Package access decides who may do what at the operator's side of the
// provisioning server, when that is reached by HTTPS.
//
// The flow: [New] makes a [Guard]; [Guard.AskForCertificate] makes a listener
// ask for certificates; [Guard.Middleware] goes around everything that is
// served there. A request that gets through has an [Identity] in its context:
//
//	certificate   signed by the operators' authority: CN is the name,
//	              O=k8snode:viewer or O=k8snode:operator the role
//	bearer token  one of a file with the name, the role and the token's SHA-256
//	session       a cookie, which a browser gets for a token at /login
//
// Promises:
//   - Everything needs a viewer, and everything but GET, HEAD and OPTIONS an
//     operator, whatever is behind the guard.
//   - Nothing is accepted that was sent in clear. A change that another site
//     makes a browser send is refused.
//   - Of tokens and sessions only digests are kept; none is in a log, an error
//     or an [Event]. A token that leaves the file takes its sessions along.
//   - Whoever fails too often has to wait, by address; what is remembered of
//     addresses and of sessions is bounded.
//   - Logins, failed ones and changes are offered to the audit; a change that
//     cannot be recorded does not happen.
//
// Forwarding headers are not read. There is no list of revoked certificates:
// sign short ones, or give tokens.
//
// Start with [New].
package access
