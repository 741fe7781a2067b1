// Package rpc is the wire: one port that serves gRPC (append, annotate, read,
// administer; trajlake_service.proto) and Arrow Flight (batches and scans), and
// the client of both. It takes no decisions: every call is handed to ingest,
// replay, query or store, and their answers and errors are put into messages.
//
// Errors keep their kind, field and hint over the wire in both directions; see
// Status and Fault.
package rpc
