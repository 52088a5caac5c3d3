// Names derived from the tier's name, INTACT_TIER, which the build defines for the tier's own units.
#pragma once

#define INTACT_JOIN(a, b) a##b
#define INTACT_EXPAND(a, b) INTACT_JOIN(a, b)
#define INTACT_OF_TIER(prefix) INTACT_EXPAND(prefix, INTACT_TIER)
#define INTACT_OF_PART(part) INTACT_EXPAND(INTACT_EXPAND(INTACT_EXPAND(products, part), _), INTACT_TIER)
#define INTACT_QUOTE(name) #name
#define INTACT_STRING(name) INTACT_QUOTE(name)
