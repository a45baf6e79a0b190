// Package admin is how an operator's tool speaks to a running provisioning
// server: JSON over HTTP, on a unix socket of the same machine, or behind the
// operators' site.
//
// The flow: the server opens the socket with [Listen] and serves
// [NewHandler]; the tool makes a [Client] and calls the same methods: those of
// [Backend] for nodes, those of [Library] for images.
//
// [OpenAPI] describes the API, for other programs.
//
// Promises: the socket has mode 0600 in a folder that only its owner can
// enter, and a folder that others can enter is refused; no answer holds a token.
//
// Whoever may open the socket may do everything. Roles are those of package access,
// which is in front of the handler on the site.
//
// Start with [NewClient].
package admin
