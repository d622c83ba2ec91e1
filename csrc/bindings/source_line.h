// The line of the user's program that is running.
#pragma once
#include <string>

#include "program/capture.h"

namespace tg {

// The innermost line of Python outside of the package (its folder ends in a separator).
SourceLine user_line(const std::string& package);

}  // namespace tg
