// Package rpcpb is the generated code of the wire's messages and service; its
// source is trajlake_service.proto, whose comments describe them.
package rpcpb
