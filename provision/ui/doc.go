// Package ui shows the provisioning server to operators in a browser: the
// fleet, each node with what happened to it, the open windows, the machines
// that nobody knows, and the audit.
//
// The flow: [New] takes an [admin.Backend] and a [Trail], which reads the audit log;
// [UI.Handler] serves pages that are made on the server. A page works without
// JavaScript; with it, the part that changes is fetched again every few seconds
// and put in place of what differs, so that focus and selection stay.
// [UI.Page] is the page of a person whom package access does not let in.
//
// Promises:
//   - What machines say is text wherever it is shown.
//   - The content security policy allows the files of this package and nothing
//     else: no inline script or style, no frame, no other site.
//   - A page shows at most as many nodes as fit on one, out of thousands; the
//     backend is asked once a second, however many people watch.
//   - No form is shown to a viewer, and none of a viewer's is obeyed.
//   - A colour never says anything alone; what changes is announced politely.
//
// It lets nobody in or out: it belongs behind package access. It keeps nothing
// but what it has read.
//
// Start with [New].
package ui
