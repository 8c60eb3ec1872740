package saga

// Schemas are the oldest and the newest version of the state that this program reads: those of StateHistory, and the present one.
func (g *Saga[X, S]) Schemas() (oldest, newest int) {
	oldest, newest = g.schema.version, g.schema.version
	if len(g.schema.history) > 0 {
		oldest = g.schema.history[0].Version
	}
	return oldest, newest
}
