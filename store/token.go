package store

import (
	"trajlake/schema"
	"trajlake/schema/fault"
)

// VersionOf is the version of trajectories that a token of this lake, or of a copy
// of it, names. It reads nothing: whether the lake has that version is not asked.
func (l *Lake) VersionOf(token string) (int64, error) {
	v, err := l.decodeToken(token)
	if err != nil {
		return 0, fault.Wrap("read snapshot token", err)
	}
	return v[schema.Trajectories.Name].Version, nil
}
