"""False accept rates below what the pairs support: extreme value theory on the impostor tail."""
