// The part of cuBLAS that error.h needs: the stand-in's cublasLt.h.
#pragma once

#include "cublasLt.h"
