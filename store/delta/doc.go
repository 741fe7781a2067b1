// Package delta keeps the log of one Delta Lake table (protocol reader 1,
// writer 2) in a blob.Bucket.
//
// A [Log] is opened on a table, a key prefix of the lake such as
// "trajectories". Its versions are the objects <table>/_delta_log/%020d.json,
// each created by put-if-absent and never changed: that one put is the commit
// point. [Log.Commit] builds on the newest known [State], puts the next version
// and tells three outcomes apart: committed, conflict (somebody else has that
// version: build again on the newer state) and unknown (the store did not
// answer: read the version back, and decide by commitInfo.txnId).
//
// A State is the table at one version: protocol, metadata, live files,
// tombstones, transaction ids, nextSeq and the snapshot vector. States are
// immutable and share their structure, so a commit that adds one file to a
// hundred thousand costs a few kilobytes.
//
// # What the package adds to Delta
//
// Every row has a place, its position in the log. The tags trajlake.firstSeq
// and trajlake.version of a fresh file, commitInfo.trajlake.nextSeq and the
// transaction id "trajlake.nextSeq" carry it. Commit stamps all of them, at
// each attempt anew, so no caller can get them wrong.
//
// Data commits of other engines are not interpreted: the State stops at the
// version before, State.Foreign says whose commit it was, and Commit refuses
// with fault.Unsupported. What is written byte by byte is in
// docs/format/log.md.
//
// # Concurrency
//
// A Log is safe for concurrent use. Any number of processes may commit to one
// table; they meet at the put-if-absent of the next version and nowhere else.
package delta
