"""From the tidy table to tables and figures. Only here do fractions become percent."""
