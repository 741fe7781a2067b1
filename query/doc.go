// Package query answers questions about a snapshot of the lake: the report of
// rows and tokens by task set, mode, effort and reward band, the list of
// trajectories in lake order, and rows of Arrow records as JSON.
//
// It reads the folded view: reward means the newest reward annotation's value
// where there is one. Everything is a pure function of the snapshot.
package query
