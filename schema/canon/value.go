// Package canon holds JSON as it was written, its one canonical form, and the
// digests that rest on it.
//
// A Value is one parsed document or a part of one: immutable, 16 bytes, cheap to
// copy and safe to share between goroutines. Numbers keep their text and objects
// their order, so that nothing of the source is lost before the importer has
// seen it. Strings and number texts are views of the document: as long as one of
// them is held, the whole document stays in memory; whoever keeps a short string
// for long clones it.
//
// Parse is strict where other readers guess: a repeated key, invalid UTF-8, a
// lone surrogate, NaN or trailing text is an error that names line and path.
// Append writes the canonical form of which the lake's digests are taken; its
// rules are in docs/format/identity.md.
package canon

import (
	"iter"
	"unsafe"
)

// Kind is what sort of JSON value a Value is. The zero value is Null.
type Kind uint8

// The kinds of JSON values.
const (
	Null Kind = iota
	Bool
	Number
	String
	Array
	Object
)

var kindNames = [...]string{"null", "boolean", "number", "string", "array", "object"}

// String is the kind's name in JSON's own words: "boolean", "object", ….
func (k Kind) String() string {
	if int(k) >= len(kindNames) {
		return "invalid"
	}
	return kindNames[k]
}

// Value is one JSON value. The zero Value is null.
//
// p points to the bytes of a string or number, to the first Member of an object,
// to the first Value of an array, or to a numArray; meta holds the kind, the
// numeric flag and the length.
type Value struct {
	p    unsafe.Pointer
	meta uint64
}

// Member is one key of an object with its value.
type Member struct {
	Key   string
	Value Value
}

const (
	kindShift   = 56
	numericFlag = uint64(1) << 55 // an array that is held as a numArray
	lenMask     = numericFlag - 1
)

// numArray is an array of numbers in 4 bytes an element: its text and where each
// number ends in it.
type numArray struct {
	text string
	ends []uint32
}

func (a *numArray) at(i int) Value {
	start := 0
	if i > 0 {
		start = int(a.ends[i-1])
	}
	for c := a.text[start]; c == ',' || isSpace(c); c = a.text[start] {
		start++
	}
	return textValue(Number, a.text[start:a.ends[i]])
}

func textValue(k Kind, s string) Value {
	return Value{unsafe.Pointer(unsafe.StringData(s)), uint64(k)<<kindShift | uint64(len(s))}
}

func objectOf(m []Member) Value {
	return Value{unsafe.Pointer(unsafe.SliceData(m)), uint64(Object)<<kindShift | uint64(len(m))}
}

func arrayOf(a []Value) Value {
	return Value{unsafe.Pointer(unsafe.SliceData(a)), uint64(Array)<<kindShift | uint64(len(a))}
}

func (v Value) text() string { return unsafe.String((*byte)(v.p), int(v.meta&lenMask)) }

func (v Value) members() []Member {
	if v.Kind() != Object {
		return nil
	}
	return unsafe.Slice((*Member)(v.p), int(v.meta&lenMask))
}

func (v Value) numbers() *numArray {
	if v.meta&numericFlag == 0 {
		return nil
	}
	return (*numArray)(v.p)
}

func (v Value) values() []Value {
	if v.Kind() != Array || v.meta&numericFlag != 0 {
		return nil
	}
	return unsafe.Slice((*Value)(v.p), int(v.meta&lenMask))
}

// Kind is what sort of value v is.
func (v Value) Kind() Kind { return Kind(v.meta >> kindShift) }

// IsNull reports whether v is null; the result of a failed Get is too.
func (v Value) IsNull() bool { return v.Kind() == Null }

// Get is the member of an object; (null, false) if v is no object or has no such
// key. It takes time in proportion to the number of members.
func (v Value) Get(key string) (Value, bool) {
	for _, m := range v.members() {
		if m.Key == key {
			return m.Value, true
		}
	}
	return Value{}, false
}

// Has reports whether v is an object with the key, be its value null or not.
func (v Value) Has(key string) bool {
	_, ok := v.Get(key)
	return ok
}

// Str is the decoded text of a string; ok is false for any other kind.
func (v Value) Str() (s string, ok bool) {
	if v.Kind() != String {
		return "", false
	}
	return v.text(), true
}

// Bool is the value of a boolean; ok is false for any other kind.
func (v Value) Bool() (b, ok bool) {
	return v.meta&1 == 1 && v.Kind() == Bool, v.Kind() == Bool
}

// Int is the number as an integer where it is one by value (1, 1.0 and 1e0 are)
// and fits in 64 bits; ok is false otherwise.
func (v Value) Int() (n int64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	return exactInt(v.text())
}

// Float is the float64 nearest to the number; ok is false for any other kind and
// for a number beyond float64.
func (v Value) Float() (f float64, ok bool) {
	if v.Kind() != Number {
		return 0, false
	}
	return parseFloat(v.text())
}

// Raw is the text of a number as written; "" for any other kind.
func (v Value) Raw() string {
	if v.Kind() != Number {
		return ""
	}
	return v.text()
}

// Len is the number of elements of an array or members of an object, else 0.
func (v Value) Len() int {
	if k := v.Kind(); k != Array && k != Object {
		return 0
	}
	return int(v.meta & lenMask)
}

// At is element i of an array, from 0; null if v is no array or has no such element.
func (v Value) At(i int) Value {
	if v.Kind() != Array || i < 0 || i >= v.Len() {
		return Value{}
	}
	if a := v.numbers(); a != nil {
		return a.at(i)
	}
	return v.values()[i]
}

// Items goes over the elements of an array in order; over nothing for other kinds.
func (v Value) Items() iter.Seq2[int, Value] {
	return func(yield func(int, Value) bool) {
		for i := range v.Len() {
			if v.Kind() != Array || !yield(i, v.At(i)) {
				return
			}
		}
	}
}

// Members goes over the members of an object in the order of the source; over
// nothing for other kinds.
func (v Value) Members() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, m := range v.members() {
			if !yield(m.Key, m.Value) {
				return
			}
		}
	}
}

// Obj is an object of the members, in their order. The slice is taken over. Of
// two members with one key the first is kept, so that every Value is one that
// Parse would accept.
func Obj(members ...Member) Value {
	if dup := duplicateKey(members, nil); dup >= 0 {
		kept := members[:0:0]
		seen := make(map[string]struct{}, len(members))
		for _, m := range members {
			if _, ok := seen[m.Key]; !ok {
				seen[m.Key] = struct{}{}
				kept = append(kept, m)
			}
		}
		members = kept
	}
	return objectOf(members)
}

// Arr is an array of the items. The slice is taken over.
func Arr(items ...Value) Value { return arrayOf(items) }

// Str is a string. Invalid UTF-8 is replaced by U+FFFD.
func Str(s string) Value { return textValue(String, validUTF8(s)) }

// BoolOf is a boolean.
func BoolOf(b bool) Value {
	v := Value{meta: uint64(Bool) << kindShift}
	if b {
		v.meta |= 1
	}
	return v
}

// M is a Member, shorter to write in calls of Obj.
func M(key string, v Value) Member { return Member{validUTF8(key), v} }
