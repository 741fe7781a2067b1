package rpc

import (
	"context"
	"errors"
	"io"
	"strings"
	"unicode/utf8"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"trajlake/replay"
	"trajlake/rpc/rpcpb"
	"trajlake/schema/fault"
)

// Greatest sizes of an error's texts on the wire, in bytes: a status travels in
// the trailer, which clients limit to a few KB.
const (
	maxOp      = 512
	maxMessage = 2048
	maxHint    = 1024
)

// faultOf puts an error into a message.
func faultOf(err error) *rpcpb.Fault {
	f := &rpcpb.Fault{
		Kind:    fault.KindOf(err).String(),
		Message: err.Error(),
		Field:   cut(fault.FieldOf(err), maxOp),
		Hint:    cut(fault.HintOf(err), maxHint),
		Wait:    waitOf(err),
	}
	if op := opOf(err); strings.HasPrefix(f.Message, op+": ") {
		f.Op = cut(op, maxOp)
		f.Message = strings.TrimPrefix(f.Message, op+": ")
	}
	if f.Field != "" {
		f.Message = strings.TrimPrefix(f.Message, f.Field+": ")
	}
	f.Message = cut(f.Message, maxMessage)
	return f
}

// opOf is the first Op that is set in err's chain, outermost first.
func opOf(err error) string {
	var e *fault.Error
	for errors.As(err, &e) && e.Op == "" {
		err = e.Err
	}
	if e == nil {
		return ""
	}
	return e.Op
}

// cut shortens s to at most n bytes of valid UTF-8.
func cut(s string, n int) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}

// errorOf is the inverse of faultOf: an error of the same kind, field and hint.
func errorOf(f *rpcpb.Fault) error {
	k, ok := fault.ParseKind(f.GetKind())
	if !ok {
		k = fault.Internal
	}
	e := &fault.Error{Kind: k, Op: f.GetOp(), Msg: f.GetMessage(), Field: f.GetField(), Hint: f.GetHint()}
	if w := f.GetWait(); w != nil {
		e.Msg, e.Err = "", &replay.WaitError{Wait: replay.Wait{Reason: w.GetReason(), Stratum: w.GetStratum(), Have: w.GetHave(), Want: w.GetWant()}}
	}
	return e
}

// Status is the gRPC status of an error: the code of its kind, and a Fault in the
// details. A nil error is OK.
func Status(err error) *status.Status {
	if err == nil {
		return status.New(codes.OK, "")
	}
	f := faultOf(err)
	text := f.Message
	if f.Field != "" {
		text = f.Field + ": " + text
	}
	if f.Op != "" {
		text = f.Op + ": " + text
	}
	st := status.New(codes.Code(fault.KindOf(err).Codes().GRPC), cut(text, maxMessage))
	if with, err := st.WithDetails(f); err == nil {
		return with
	}
	return st
}

// Fault is the inverse of Status, for a client: the error of trajlake that a call's
// error stands for. Statuses that gRPC itself made get the kind that fits their
// code. op, when set, says what was being done. nil and io.EOF stay what they are.
func Fault(op string, err error) error {
	if err == nil || errors.Is(err, io.EOF) {
		return err
	}
	st, ok := status.FromError(err)
	if !ok {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return fault.WrapAs(fault.Cancelled, op, err)
		}
		return fault.Wrap(op, err)
	}
	for _, d := range st.Details() {
		if f, ok := d.(*rpcpb.Fault); ok {
			return errorOf(f)
		}
	}
	if addr, refused := refusedBy(st.Message()); refused {
		return fault.New(fault.Unavailable, op, "no server answers at %s", addr).WithHint("start one with `trajlake serve --lake LAKE --listen %s`, or name another address", addr)
	}
	e := fault.New(kindOfCode(st.Code()), op, "%s", st.Message())
	if e.Kind == fault.Unavailable {
		e.Hint = "is the server running at this address?"
	}
	return e
}

// refusedBy is the address of a connection that was refused, from the text that
// gRPC makes of it.
func refusedBy(text string) (addr string, ok bool) {
	_, rest, _ := strings.Cut(text, "dial tcp ")
	addr, rest, _ = strings.Cut(rest, ": ")
	return addr, strings.Contains(rest, "connection refused")
}

// kindOfCode is the kind of a status without a Fault in its details.
func kindOfCode(c codes.Code) fault.Kind {
	switch c {
	case codes.Unavailable:
		return fault.Unavailable
	case codes.ResourceExhausted:
		return fault.Exhausted
	case codes.Canceled, codes.DeadlineExceeded:
		return fault.Cancelled
	case codes.Unimplemented:
		return fault.Unsupported
	case codes.InvalidArgument, codes.OutOfRange:
		return fault.Usage
	case codes.NotFound:
		return fault.NotFound
	case codes.PermissionDenied, codes.Unauthenticated:
		return fault.Denied
	case codes.AlreadyExists, codes.Aborted:
		return fault.Conflict
	case codes.DataLoss:
		return fault.Corrupt
	}
	return fault.Internal
}
