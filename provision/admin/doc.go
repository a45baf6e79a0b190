// Package admin is how an operator's tool speaks to a running provisioning
// server on the same machine: JSON over HTTP on a unix socket.
//
// The flow: the server opens the socket with [Listen] and serves
// [NewHandler]; the tool makes a [Client] and calls the same methods: those of
// [Backend] for nodes, those of [Library] for images.
//
// Promises: the socket has mode 0600 in a folder that only its owner can
// enter, and a folder that others can enter is refused; nothing of the API is
// reachable through TCP; no answer holds a token.
//
// Whoever may open the socket may do everything: there are no roles.
//
// Start with [NewClient].
package admin
