"""Who runs next and where: a pure planner and a thin loop around it."""
