// Package site is the operator's side of the provisioning server as it is reached
// by HTTPS: pages for people, the API for tools, and numbers for Prometheus,
// behind one guard.
//
// The flow: [New] puts packages access, admin, metrics and ui together;
// [Site.Handler] and [Site.TLS] are for the listener, and [Site.Metrics] is what
// the server tells what it does.
//
//	/            pages, for a session or a certificate
//	/api/v1/     the API of package admin; /api/v1/openapi.json describes it
//	/metrics     for Prometheus, with a viewer's token
//	/healthz     for whoever restarts the server; it says ok, and nothing else
//
// Promises: nothing but the pages' own files and /healthz is answered to who is not
// let in; every login and every change is in the audit; who asks too often waits.
//
// Start with [New].
package site
